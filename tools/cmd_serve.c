/* cmd_serve */
