; inherits: ocaml_interface
((compilation_unit (value_definition (let_binding pattern: (value_name) @definition.name) @definition.constant))
  (#set! lead "let rec and"))

((structure (value_definition (let_binding pattern: (value_name) @definition.name) @definition.constant))
  (#set! lead "let rec and"))
