"""From a folder of YAML to a ready ``App``; the only home of the YAML library; the composition root.

``yaml_file`` and ``repair`` know text, ``yaml_document`` values and their lines, ``validation`` checks
those against a model; ``definition`` is the project file, ``loading`` finds and checks all files of a
project, ``app`` puts stores, memories, models and the engine together.
"""
