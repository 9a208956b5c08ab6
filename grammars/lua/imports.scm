((chunk [
    (variable_declaration (assignment_statement
      (expression_list value: (function_call name: (identifier) @_require)))) @import
    (variable_declaration (assignment_statement
      (expression_list value: (dot_index_expression table: (function_call name: (identifier) @_require))))) @import
    (assignment_statement (expression_list value: (function_call name: (identifier) @_require))) @import
    (function_call name: (identifier) @_require) @import
  ])
  (#one-of? @_require "require"))

((ERROR [
    (variable_declaration (assignment_statement
      (expression_list value: (function_call name: (identifier) @_require)))) @import
    (variable_declaration (assignment_statement
      (expression_list value: (dot_index_expression table: (function_call name: (identifier) @_require))))) @import
  ])
  (#one-of? @_require "require"))
