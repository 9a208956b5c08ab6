((script_element (start_tag (attribute (attribute_name) @_source))) @import
  (#one-of? @_source "src"))

((element . (start_tag . (tag_name) @_link)) @import
  (#one-of? @_link "link"))
