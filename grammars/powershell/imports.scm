((program (statement_list (pipeline (pipeline_chain (command command_name: (command_name) @_command))) @import))
  (#one-of? @_command "using" "Using" "Import-Module" "import-module" "ipmo"))

; dot sourcing: the script runs in the caller's scope
((program (statement_list (pipeline (pipeline_chain (command (command_invokation_operator) @_dot))) @import))
  (#one-of? @_dot "."))
