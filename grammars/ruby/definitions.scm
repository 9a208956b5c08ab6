(program (assignment left: (constant) @definition.name) @definition.constant)
(body_statement (assignment left: (constant) @definition.name) @definition.constant)

; each attribute of a class
((body_statement (call
  method: (identifier) @_attribute
  arguments: (argument_list (simple_symbol) @definition.name @definition.function)))
  (#one-of? @_attribute "attr_accessor" "attr_reader" "attr_writer"))
