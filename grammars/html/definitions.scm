; the elements are scopes, and nothing else is defined
