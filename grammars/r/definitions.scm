((program (binary_operator lhs: (_) @definition.name operator: _ @_assigns) @definition.constant)
  (#one-of? @_assigns "<-" "=" "<<-"))

((program (call
  function: (identifier) @_class
  arguments: (arguments . (argument value: (string (string_content) @definition.name)))) @definition.class)
  (#one-of? @_class "setClass" "setRefClass"))

((program (call
  function: (identifier) @_generic
  arguments: (arguments . (argument value: (string (string_content) @definition.name)))) @definition.function)
  (#one-of? @_generic "setGeneric"))
