(compilation_unit (using_directive) @import)
(namespace_declaration body: (declaration_list (using_directive) @import))

(ERROR (using_directive) @import)
