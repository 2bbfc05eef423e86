#include "config.h"

#include <string.h>

#include "diagram.h"

#define ROW_BITS   32
#define ROW_CHARS  (2 * ROW_BITS + 1)
#define LABEL_SIZE 128
#define TALL_ROWS  8 /* a field of more rows is drawn in three, the middle one dotted */
#define CELLS_MAX  (2 * LINTEL_VIEWS_MAX + 2 * LINTEL_FIELDS_MAX)

/* One box: a field, the bits of one view in it, or the payload. */
struct cell {
    uint32_t bits;
    int variable; /* its size is not known: it takes the rest of its row */
    char label[LABEL_SIZE];
};

struct drawing {
    FILE *out;
    struct cell cells[CELLS_MAX];
    size_t count;

    /* The row being drawn, and the line above it. */
    char row[ROW_CHARS + 1], above[ROW_CHARS + 1];
    uint32_t column;   /* bits in the row, below ROW_BITS */
    uint32_t previous; /* bits in the row before */
};

/* ---- cells ----------------------------------------------------------------------------------- */

uint64_t diagram_view_bits(const struct lintel_view *view)
{
    uint64_t all = view->size >= 8 ? UINT64_MAX : ((uint64_t)1 << (8 * view->size)) - 1;
    uint64_t bits = view->mask ? view->mask & all : all;
    return bits >> view->shift << view->shift;
}

static struct cell *add_cell(struct drawing *drawing, uint32_t bits, int variable)
{
    struct cell *cell = &drawing->cells[drawing->count++];
    *cell = (struct cell){.bits = bits, .variable = variable};
    return cell;
}

static void add_label(struct cell *cell, const struct lintel_layout *layout, size_t view)
{
    const struct lintel_view *about = lintel_layout_view(layout, view);
    size_t used = strlen(cell->label), length = 0;
    const char *constant = lintel_layout_constant_text(layout, view, &length);
    snprintf(cell->label + used, sizeof cell->label - used, "%s%s%s%.*s", used ? ", " : "",
             about->name, constant ? " = " : "", constant ? (int)(length < 40 ? length : 40) : 0,
             constant ? constant : "");
}

/* Whether the views of a field are runs of bits that do not overlap, and their order on the wire is
 * that of the word. */
static int can_split(const struct lintel_layout *layout, const struct lintel_field *field)
{
    uint64_t taken = 0;
    if (field->views < 2 || field->size > 8 || strchr("vscxfd", field->code) ||
        (lintel_layout_little_endian(layout) && field->size > 1))
        return 0;
    for (size_t i = field->first_view; i < (size_t)field->first_view + field->views; i++) {
        uint64_t bits = diagram_view_bits(lintel_layout_view(layout, i));
        if (bits == 0 || (taken & bits))
            return 0;
        taken |= bits;
        uint64_t run = bits / (bits & (~bits + 1));
        if (run & (run + 1))
            return 0;
    }
    return 1;
}

static int view_with_bit(const struct lintel_layout *layout, const struct lintel_field *field,
                         uint32_t bit)
{
    for (size_t i = field->first_view; i < (size_t)field->first_view + field->views; i++)
        if (diagram_view_bits(lintel_layout_view(layout, i)) >> bit & 1)
            return (int)i;
    return -1;
}

/* From the highest bit down, a cell for each run that belongs to one view or to none. */
static void add_split(struct drawing *drawing, const struct lintel_layout *layout,
                      const struct lintel_field *field)
{
    for (uint32_t left = 8 * field->size; left > 0;) {
        int view = view_with_bit(layout, field, left - 1);
        uint32_t run = 1;
        while (run < left && view_with_bit(layout, field, left - 1 - run) == view)
            run++;
        struct cell *cell = add_cell(drawing, run, 0);
        if (view >= 0)
            add_label(cell, layout, (size_t)view);
        left -= run;
    }
}

static void add_field(struct drawing *drawing, const struct lintel_layout *layout,
                      const struct lintel_field *field)
{
    if (can_split(layout, field)) {
        add_split(drawing, layout, field);
        return;
    }
    int variable = field->code == 'v';
    struct cell *cell = add_cell(drawing, 8 * field->size, variable);
    for (size_t i = 0; i < field->views; i++)
        add_label(cell, layout, field->first_view + i);
    size_t used = strlen(cell->label);
    if (variable)
        snprintf(cell->label + used, sizeof cell->label - used, " (varint, 1 to %u bytes)",
                 (unsigned)field->size);
    else if (field->size > (TALL_ROWS - 1) * ROW_BITS / 8)
        snprintf(cell->label + used, sizeof cell->label - used, " (%u bytes)",
                 (unsigned)field->size);
}

static void add_cells(struct drawing *drawing, const struct lintel_layout *layout)
{
    size_t count = lintel_layout_field_count(layout), i = 0;
    for (; i < count && !lintel_layout_field(layout, i)->in_trailer; i++)
        add_field(drawing, layout, lintel_layout_field(layout, i));
    snprintf(add_cell(drawing, 0, 1)->label, LABEL_SIZE, "payload");
    for (; i < count; i++)
        add_field(drawing, layout, lintel_layout_field(layout, i));
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void rule(char *line, uint32_t from, uint32_t to)
{
    for (uint32_t at = 2 * from; at <= 2 * to; at++)
        line[at] = at % 2 ? '-' : '+';
}

static void clear_row(struct drawing *drawing)
{
    memset(drawing->row, ' ', ROW_CHARS);
    memset(drawing->above, ' ', ROW_CHARS);
    rule(drawing->above, 0, drawing->previous);
    drawing->column = 0;
}

static void print_trimmed(FILE *out, const char *line)
{
    size_t size = ROW_CHARS;
    while (size > 0 && line[size - 1] == ' ')
        size--;
    fprintf(out, "%.*s\n", (int)size, line);
}

static void end_row(struct drawing *drawing)
{
    if (drawing->column == 0)
        return;
    print_trimmed(drawing->out, drawing->above);
    print_trimmed(drawing->out, drawing->row);
    drawing->previous = drawing->column;
    clear_row(drawing);
}

static void put_label(struct drawing *drawing, uint32_t from, uint32_t to, const char *label)
{
    size_t room = 2 * (size_t)(to - from) - 1, size = strlen(label);
    if (size > room)
        size = room;
    memcpy(drawing->row + 2 * from + 1 + (room - size) / 2, label, size);
}

/* One row of a cell; from the bit open_from on nothing is drawn between it and the row above. */
static void put_piece(struct drawing *drawing, uint32_t bits, const char *label, uint32_t open_from,
                      char side)
{
    uint32_t from = drawing->column, to = from + bits;
    rule(drawing->above, from, to);
    if (open_from < to)
        memset(drawing->above + 2 * open_from + 1, ' ', 2 * (size_t)(to - open_from) - 1);
    drawing->row[2 * from] = drawing->row[2 * from] == ' ' ? side : drawing->row[2 * from];
    drawing->row[2 * to] = side;
    put_label(drawing, from, to, label);
    drawing->column = to;
    if (to == ROW_BITS)
        end_row(drawing);
}

/* Fixed cells: as many rows as it takes, the label in the widest, nearest to the middle. */
static void put_fixed(struct drawing *drawing, const struct cell *cell)
{
    uint32_t left = cell->bits, start = drawing->column;
    uint32_t rows = (start + left + ROW_BITS - 1) / ROW_BITS, tall = rows > TALL_ROWS;
    uint32_t first = left < ROW_BITS - start ? left : ROW_BITS - start;
    uint32_t last = rows > 1 ? left - first - (rows - 2) * ROW_BITS : 0;
    uint32_t shown = rows > 2 ? (tall ? 1 : (rows - 1) / 2) : last > first ? 1 : 0;
    for (uint32_t row = 0; row < rows; row++) {
        uint32_t bits = row == 0 ? first : row + 1 == rows ? last : ROW_BITS;
        if (tall && row > 1 && row + 1 < rows)
            continue;
        uint32_t open_from = row == 0 ? ROW_BITS : row == 1 ? start : 0;
        put_piece(drawing, bits, row == shown ? cell->label : "", open_from,
                  tall && row == 1 ? '.' : '|');
    }
}

static void put_variable(struct drawing *drawing, const struct cell *cell)
{
    uint32_t bits = ROW_BITS - drawing->column;
    put_piece(drawing, bits, cell->label, ROW_BITS, '.');
}

void diagram_print(FILE *out, const struct lintel_layout *layout)
{
    struct drawing drawing = {.out = out};
    add_cells(&drawing, layout);
    fputs(" 0                   1                   2                   3\n"
          " 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1\n",
          out);
    clear_row(&drawing);
    for (size_t i = 0; i < drawing.count; i++) {
        if (drawing.cells[i].variable)
            put_variable(&drawing, &drawing.cells[i]);
        else
            put_fixed(&drawing, &drawing.cells[i]);
    }
    end_row(&drawing);
    print_trimmed(out, drawing.above);
}
