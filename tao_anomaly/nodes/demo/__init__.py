"""The demo: everything from normal footage to a report, on rendered scenes or on a video."""
