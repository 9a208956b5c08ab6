; also those on a condition: [ -f a.sh ] && . a.sh
((program [
    (command name: (command_name) @_command) @import
    (list (command name: (command_name) @_command) @import)
    (if_statement (command name: (command_name) @_command) @import)
  ])
  (#one-of? @_command "source" "."))

((ERROR (command name: (command_name) @_command) @import)
  (#one-of? @_command "source" "."))
