((function_item name: (_) @scope.name body: (_) @scope.body) @scope.function
  (#set! lead "attribute_item"))

((struct_item name: (_) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "attribute_item"))

((enum_item name: (_) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "attribute_item"))

((union_item name: (_) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "attribute_item"))

((trait_item name: (_) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "attribute_item"))

((impl_item type: (_) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "attribute_item"))

((mod_item name: (_) @scope.name body: (_) @scope.body) @scope.module
  (#set! lead "attribute_item"))

; a function named by its variable
(let_declaration pattern: (identifier) @scope.name value: (closure_expression body: (block) @scope.body)) @scope.function
