((function_declaration name: (_) @scope.name body: (_) @scope.body) @scope.function
  (#set! lead "export default"))

((generator_function_declaration name: (_) @scope.name body: (_) @scope.body) @scope.function
  (#set! lead "export default"))

((class_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "export default decorator"))

; export default class { }, and a class as a value
((class name: (_)? @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "export default decorator"))

((method_definition name: (_) @scope.name body: (_) @scope.body) @scope.function
  (#set! lead "decorator"))

; functions named by the variable that they are assigned to
(([(lexical_declaration . (variable_declarator
     name: (_) @scope.name
     value: [(_ parameters: (_) body: (_) @scope.body) (arrow_function body: (_) @scope.body)]) .)
   (variable_declaration . (variable_declarator
     name: (_) @scope.name
     value: [(_ parameters: (_) body: (_) @scope.body) (arrow_function body: (_) @scope.body)]) .)])
  @scope.function
  (#set! lead "export"))

; or by the variable of what a call makes of them: const Card = memo(() => { });
((lexical_declaration . (variable_declarator
    name: (_) @scope.name
    value: (call_expression
      function: [(identifier) (call_expression)]
      arguments: (arguments [
        (arrow_function body: [(statement_block) (parenthesized_expression)] @scope.body)
        (function_expression body: (_) @scope.body)
      ]))) .) @scope.function
  (#set! lead "export"))

((lexical_declaration . (variable_declarator
    name: (_) @scope.name
    value: (call_expression
      function: (member_expression object: (identifier) @_react)
      arguments: (arguments [
        (arrow_function body: [(statement_block) (parenthesized_expression)] @scope.body)
        (function_expression body: (_) @scope.body)
      ]))) .) @scope.function
  (#set! lead "export")
  (#one-of? @_react "React"))

; exports.f = ..., module.exports.f = ...: what other files import is f
((expression_statement (assignment_expression
  left: (member_expression
    object: [(identifier) @_exports (member_expression property: (property_identifier) @_exports)]
    property: (_) @scope.name)
  right: [(_ parameters: (_) body: (_) @scope.body) (arrow_function body: (_) @scope.body)])) @scope.function
  (#one-of? @_exports "exports"))

(expression_statement (assignment_expression left: (_) @scope.name right: (_ parameters: (_) body: (_) @scope.body)))
  @scope.function

(expression_statement (assignment_expression left: (_) @scope.name right: (arrow_function body: (_) @scope.body)))
  @scope.function

(pair key: (_) @scope.name value: (_ parameters: (_) body: (_) @scope.body)) @scope.function
(pair key: (_) @scope.name value: (arrow_function body: (_) @scope.body)) @scope.function

; tests: it("works", () => { }), it.only(...), it.each(...)(...)
((call_expression
  function: [
    (identifier) @_test
    (member_expression object: (identifier) @_test)
    (call_expression function: (member_expression object: (identifier) @_test))
  ]
  arguments: (arguments
    .
    [(string (string_fragment) @scope.name) (template_string) @scope.name]
    [(arrow_function body: (statement_block) @scope.body) (function_expression body: (_) @scope.body)])) @scope.function
  (#one-of? @_test "it" "test"))

((call_expression
  function: [
    (identifier) @_suite
    (member_expression object: (identifier) @_suite)
    (call_expression function: (member_expression object: (identifier) @_suite))
  ]
  arguments: (arguments
    .
    [(string (string_fragment) @scope.name) (template_string) @scope.name]
    [(arrow_function body: (statement_block) @scope.body) (function_expression body: (_) @scope.body)])) @scope.class
  (#one-of? @_suite "describe" "context" "suite"))
