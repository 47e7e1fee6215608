"""One prewarm from start to finish, shown as it happens and checked in the end."""
