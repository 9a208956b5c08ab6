; elements are scopes already, and HTML has no other definitions
