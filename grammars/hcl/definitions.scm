((config_file (body (block . (identifier) @_locals (body (attribute (identifier) @definition.name) @definition.constant))))
  (#one-of? @_locals "locals"))

(config_file (body (attribute (identifier) @definition.name) @definition.constant))
