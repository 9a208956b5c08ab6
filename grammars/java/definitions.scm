; methods without a body, which are not scopes
(method_declaration name: (_) @definition.name) @definition.function
(class_body (field_declaration declarator: (variable_declarator name: (_) @definition.name)) @definition.constant)
(constant_declaration declarator: (variable_declarator name: (_) @definition.name)) @definition.constant
