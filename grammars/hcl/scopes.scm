; named by the last label: resource "aws_instance" "web"
(block (string_lit (template_literal) @scope.name) . (block_start) @scope.body) @scope.class
(block . (identifier) @scope.name . (block_start) @scope.body) @scope.class
