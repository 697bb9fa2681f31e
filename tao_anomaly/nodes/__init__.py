"""ROS 2 nodes around the stages; nothing outside this package knows ROS."""
