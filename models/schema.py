"""The migration this code is written for; a test keeps it equal to the newest one."""

HEAD = "0005"
