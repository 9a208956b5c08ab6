; inherits: c
(method_declaration (method_type) . (identifier) @definition.name) @definition.function
(property_declaration (struct_declaration (struct_declarator [
  (identifier) @definition.name
  (pointer_declarator declarator: (identifier) @definition.name)
]))) @definition.constant
