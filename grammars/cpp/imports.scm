; inherits: c
(translation_unit (using_declaration) @import)

(ERROR (using_declaration) @import)
