; inherits: c
(translation_unit (module_import) @import)

(ERROR (module_import) @import)
