((struct_item name: (_) @definition.name) @definition.class
  (#set! lead "attribute_item"))

(function_signature_item name: (_) @definition.name) @definition.function
(type_item name: (_) @definition.name) @definition.type
(const_item name: (_) @definition.name) @definition.constant
(static_item name: (_) @definition.name) @definition.constant

((macro_definition name: (_) @definition.name) @definition.function
  (#set! lead "attribute_item"))

(associated_type name: (_) @definition.name) @definition.type

((field_declaration name: (_) @definition.name) @definition.constant
  (#set! lead "attribute_item"))

((enum_variant name: (_) @definition.name) @definition.constant
  (#set! lead "attribute_item"))
