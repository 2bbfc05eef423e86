/* cmd_version */
