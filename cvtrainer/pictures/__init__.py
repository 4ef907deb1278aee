"""Pictures as arrays, by Pillow and numpy alone: from bytes to what an input spec asks for, and
drawn on.

Data decodes by these rules too, with faster libraries where they give the same; tests hold the two
together.
"""
