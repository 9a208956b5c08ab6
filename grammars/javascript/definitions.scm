; inherits: ecmascript
(field_definition property: (_) @definition.name) @definition.constant
