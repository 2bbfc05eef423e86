/* cmd_pack */
