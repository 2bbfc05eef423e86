/* cmd_send */
