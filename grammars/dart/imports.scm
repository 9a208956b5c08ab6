(program [(import_or_export) (part_directive) (part_of_directive)] @import)

(ERROR [(import_or_export) (part_directive) (part_of_directive)] @import)
