; inherits: c
(field_declaration declarator: (function_declarator declarator: (_) @definition.name)) @definition.function
(alias_declaration name: (_) @definition.name) @definition.type
(concept_definition name: (_) @definition.name) @definition.type
