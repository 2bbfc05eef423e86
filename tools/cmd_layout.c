/* cmd_layout */
