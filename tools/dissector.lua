
-- ---- how it works: the same for every layout ----------------------------------------------------

local proto = Proto(NAME, "lintel layout " .. NAME)
local mismatch = ProtoExpert.new(NAME .. ".mismatch", "a constant that does not match",
                                 expert.group.PROTOCOL, expert.severity.ERROR)
local impossible = ProtoExpert.new(NAME .. ".impossible", "a number that cannot be",
                                   expert.group.MALFORMED, expert.severity.ERROR)
local data = Dissector.get("data")
local zero = UInt64.new(0)

proto.experts = { mismatch, impossible }
do
    local fields = {}
    for _, run in ipairs({ HEADER, TRAILER }) do
        for _, field in ipairs(run) do
            for _, view in ipairs(field.views) do
                table.insert(fields, view.proto)
            end
        end
    end
    proto.fields = fields
end

proto.prefs.ports = Pref.range("TCP ports", PORTS, "TCP ports with frames of this layout", 65535)
proto.prefs.limit = Pref.uint("Largest payload", LIMIT, "Bytes of payload; a longer length is wrong")

-- A varint of at most max bytes: its number and size; nil where bytes are missing; false and why.
local function read_varint(tvb, at, max)
    local word = zero
    for i = 0, max - 1 do
        if at + i >= tvb:len() then
            return nil
        end
        local byte = tvb(at + i, 1):uint()
        if i == 9 and byte > 1 then
            return false, "the varint is over 64 bits"
        end
        word = word + UInt64.new(byte % 128):lshift(7 * i)
        if byte < 128 then
            if i > 0 and byte == 0 then
                return false, "the varint is longer than it needs to be"
            end
            return word, i + 1
        end
    end
    return false, "the varint has too many bytes"
end

-- The word of an integer, or the bits of a float.
local function read_word(range)
    if range:len() > 4 then
        return LITTLE and range:le_uint64() or range:uint64()
    end
    return UInt64.new(LITTLE and range:le_uint() or range:uint())
end

-- The fields of header or trailer: a list of what was found, and where it ends; nil where bytes are
-- missing; the list so far, nil and why where a varint cannot be.
local function walk(run, tvb, at)
    local found = {}
    for _, field in ipairs(run) do
        local size, word = field.size, nil
        if field.varint then
            word, size = read_varint(tvb, at, field.size)
            if word == nil then
                return nil
            end
            if not word then
                return found, nil, size
            end
        end
        if at + size > tvb:len() then
            return nil
        end
        local range = tvb(at, size)
        if field.number then
            word = read_word(range)
        end
        table.insert(found, { field = field, range = range, word = word })
        at = at + size
    end
    return found, at
end

-- What a word stands for: a number; nil and why where it cannot be read.
local function compute(view, word)
    local number = word
    if view.mask then
        number = number:band(view.mask)
    end
    number = number:rshift(view.shift or 0)
    if view.min and number < view.min then
        return nil, view.name .. " is too small"
    end
    if view.max and number > view.max then
        return nil, view.name .. " is too large"
    end
    return number * (view.factor or UInt64.new(1)) + (view.plus or zero) - (view.minus or zero)
end

local function length_of(found)
    for _, item in ipairs(found) do
        for _, view in ipairs(item.field.views) do
            if view.name == "length" then
                local length, why = compute(view, item.word)
                if length and length > UInt64.new(proto.prefs.limit) then
                    return nil, "the length " .. tostring(length) .. " is over the limit of " ..
                        tostring(proto.prefs.limit)
                end
                return length and length:tonumber(), why
            end
        end
    end
end

-- Bytes of the frame that begins there; nil where more are needed to say; false where none can be.
local function measure(tvb, at)
    local found, header_end = walk(HEADER, tvb, at)
    if not found then
        return nil
    end
    local length = header_end and length_of(found)
    if not length then
        return false
    end
    if not VARIABLE_TRAILER then
        return header_end + length + TRAILER_SIZE - at
    end
    if header_end + length >= tvb:len() then
        return header_end + length + 1 - at
    end
    local trailer, trailer_end = walk(TRAILER, tvb, header_end + length)
    if not trailer then
        return nil
    end
    return trailer_end and trailer_end - at or false
end

local function is_right(view, item)
    if view.bytes then
        return item.range:bytes():tohex(true) == view.bytes
    end
    if view.boolean then
        return (item.word == zero) == (view.bits == zero)
    end
    local word = item.word
    if view.mask then
        word = word:band(view.mask)
    end
    return word == view.bits
end

local function show_view(branch, view, item)
    local shown, value, why
    if view.boolean then
        shown = branch:add(view.proto, item.range, item.word == zero and 0 or 1)
    elseif view.plain then
        shown = LITTLE and branch:add_le(view.proto, item.range) or branch:add(view.proto, item.range)
    else
        value, why = compute(view, item.word)
        shown = branch:add(view.proto, item.range, value or item.word)
    end
    if view.plain and view.max then
        value, why = compute(view, item.word)
    end
    if why then
        shown:add_proto_expert_info(impossible, why)
    end
    if view.shown and not is_right(view, item) then
        shown:add_proto_expert_info(mismatch, view.name .. " is always " .. view.shown)
    end
end

local function show_run(branch, found)
    for _, item in ipairs(found) do
        for _, view in ipairs(item.field.views) do
            show_view(branch, view, item)
        end
    end
end

-- One frame, or what cannot be one up to the end of what is there.
local function show(tvb, pinfo, tree)
    local branch = tree:add(proto, tvb())
    local found, at, why = walk(HEADER, tvb, 0)
    pinfo.cols.protocol = NAME
    if not found then
        return tvb:len()
    end
    show_run(branch, found)
    local length = 0
    if at then
        length, why = length_of(found)
    end
    if why then
        branch:add_proto_expert_info(impossible, why)
    end
    if not at or not length then
        data:call(tvb(at or 0):tvb(), pinfo, tree)
        return tvb:len()
    end
    branch:append_text(", " .. length .. " bytes of payload")
    length = math.min(length, tvb:len() - at)
    if length > 0 then
        data:call(tvb(at, length):tvb(), pinfo, branch)
    end
    found, at, why = walk(TRAILER, tvb, at + length)
    if found then
        show_run(branch, found)
    end
    if why then
        branch:add_proto_expert_info(impossible, why)
    end
    return tvb:len()
end

local function pdu_size(tvb, pinfo, at)
    return measure(tvb, at) or tvb:len() - at
end

-- Where varints make the size of a header or trailer differ, the frames are put together here.
local function dissect_variable(tvb, pinfo, tree)
    local at = 0
    while at < tvb:len() do
        local left = tvb:len() - at
        local size = measure(tvb, at)
        if size == nil or (size and size > left) then
            pinfo.desegment_offset = at
            pinfo.desegment_len = size and not VARIABLE_TRAILER and size - left
                or DESEGMENT_ONE_MORE_SEGMENT
            return tvb:len()
        end
        size = size or left
        show(tvb(at, size):tvb(), pinfo, tree)
        at = at + size
    end
    return at
end

function proto.dissector(tvb, pinfo, tree)
    if VARIABLE_HEADER or VARIABLE_TRAILER then
        return dissect_variable(tvb, pinfo, tree)
    end
    dissect_tcp_pdus(tvb, tree, HEADER_SIZE, pdu_size, show)
    return tvb:len()
end

local tcp = DissectorTable.get("tcp.port")
local registered = PORTS
tcp:add_for_decode_as(proto)
if registered ~= "" then
    tcp:add(registered, proto)
end

function proto.prefs_changed()
    local ports = tostring(proto.prefs.ports)
    if ports == registered then
        return
    end
    if registered ~= "" then
        tcp:remove(registered, proto)
    end
    if ports ~= "" then
        tcp:add(ports, proto)
    end
    registered = ports
end
