; A signature and its body are siblings: the scope is the body, and the signature leads to it. The name is left to the
; definitions: a pattern of two siblings is tried on the whole file, wherever the cursor is.
((function_body (_) @scope.body) @scope.function
  (#set! lead "function_signature method_signature annotation"))

(class_definition name: (_) @scope.name body: (_) @scope.body) @scope.class
(mixin_declaration (identifier) @scope.name (class_body) @scope.body) @scope.class
(enum_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(extension_declaration name: (_)? @scope.name body: (_) @scope.body) @scope.class
