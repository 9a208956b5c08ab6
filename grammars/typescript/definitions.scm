; inherits: javascript
((type_alias_declaration name: (_) @definition.name) @definition.type
  (#set! lead "export declare"))

((function_signature name: (_) @definition.name) @definition.function
  (#set! lead "export declare"))

(abstract_method_signature name: (_) @definition.name) @definition.function
(method_signature name: (_) @definition.name) @definition.function
