(value_specification (value_name) @definition.name) @definition.function
(external (value_name) @definition.name) @definition.function
(exception_definition (constructor_declaration (constructor_name) @definition.name)) @definition.type

((type_binding name: (_) @definition.name) @definition.type
  (#set! lead "type nonrec and"))
