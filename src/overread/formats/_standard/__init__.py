"""Tables of the DICOM Standard as data; their passport is README.md, the script that made them make_tables.py."""
