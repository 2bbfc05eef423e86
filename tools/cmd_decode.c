/* cmd_decode */
