; inherits: c
(translation_unit [(using_declaration) (namespace_alias_definition)] @import)

(ERROR [(using_declaration) (namespace_alias_definition)] @import)
