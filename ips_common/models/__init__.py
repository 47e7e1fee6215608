"""What IPS talks about: tasks, nodes, results and messages. Pure data, no input or output."""
