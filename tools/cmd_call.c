/* cmd_call */
