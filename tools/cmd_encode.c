/* cmd_encode */
