; inherits: ecmascript
((type_alias_declaration name: (_) @definition.name) @definition.type
  (#set! lead "export declare"))

((function_signature name: (_) @definition.name) @definition.function
  (#set! lead "export declare"))

(abstract_method_signature name: (_) @definition.name) @definition.function
(method_signature name: (_) @definition.name) @definition.function
(public_field_definition name: (_) @definition.name) @definition.constant
(interface_body (property_signature name: (_) @definition.name) @definition.constant)
(enum_assignment name: (_) @definition.name) @definition.constant
(enum_body name: (_) @definition.name @definition.constant)

((ambient_declaration (lexical_declaration (variable_declarator name: (identifier) @definition.name)) @definition.constant)
  (#set! lead "export declare"))
