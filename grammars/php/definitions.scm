(method_declaration name: (_) @definition.name) @definition.function
(const_declaration (const_element . (name) @definition.name)) @definition.constant
