((source_file (type_declaration (type_spec name: (_) @definition.name) @definition.type))
  (#set! lead "type"))

((source_file (type_declaration (type_alias name: (_) @definition.name) @definition.type))
  (#set! lead "type"))

((source_file (const_declaration (const_spec name: (_) @definition.name) @definition.constant))
  (#set! lead "const"))

((source_file (var_declaration (var_spec name: (_) @definition.name) @definition.constant))
  (#set! lead "var"))

(source_file (var_declaration (var_spec_list (var_spec name: (_) @definition.name) @definition.constant)))

; members of types
(method_elem name: (_) @definition.name) @definition.function
(field_declaration name: (_) @definition.name) @definition.constant

; a function without a body, written in assembly
(function_declaration name: (_) @definition.name) @definition.function
