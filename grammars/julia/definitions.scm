(const_statement (assignment . (identifier) @definition.name)) @definition.constant
(abstract_definition (type_head (identifier) @definition.name)) @definition.type
(abstract_definition (type_head (_ . (identifier) @definition.name))) @definition.type
(primitive_definition (type_head (_) @definition.name)) @definition.type
(struct_definition (block (typed_expression . (identifier) @definition.name) @definition.constant))
(struct_definition (block (assignment . (typed_expression . (identifier) @definition.name)) @definition.constant))
