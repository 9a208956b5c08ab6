; custom properties: `:root { --accent: red }`
((stylesheet (rule_set
  (selectors (pseudo_class_selector . (class_name) @_root))
  (block (declaration (property_name) @definition.name) @definition.constant)))
  (#one-of? @_root "root"))
