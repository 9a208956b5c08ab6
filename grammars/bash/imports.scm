((program (command name: (command_name) @_command) @import)
  (#one-of? @_command "source" "."))

((ERROR (command name: (command_name) @_command) @import)
  (#one-of? @_command "source" "."))
