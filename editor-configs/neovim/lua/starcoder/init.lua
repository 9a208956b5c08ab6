-- Ghost text from starcoder-lsp. What keys, a status line and `:Starcoder` call.
local M = {}

M.keys = {
  accept = '<C-y>',
  accept_word = '<M-w>',
  accept_line = '<M-l>',
  next = '<M-n>',
  previous = '<M-p>',
}

--- Neovim's own inline completion where there is one.
local display = require(vim.lsp.inline_completion and 'starcoder.native' or 'starcoder.ghost')
local status = {}

function M.attach(client, bufnr)
  display.attach(client, bufnr)
end

-- The five return false where there is nothing to do, so that a key can mean something else then.

function M.accept()
  return display.accept(vim.api.nvim_get_current_buf())
end

function M.accept_word()
  return display.accept(vim.api.nvim_get_current_buf(), 'word')
end

function M.accept_line()
  return display.accept(vim.api.nvim_get_current_buf(), 'line')
end

function M.next()
  return display.cycle(vim.api.nvim_get_current_buf(), vim.v.count1)
end

function M.previous()
  return display.cycle(vim.api.nvim_get_current_buf(), -vim.v.count1)
end

function M.set_status(new)
  status = new
  vim.cmd.redrawstatus({ bang = true })
end

--- For a status line: `starcoder: ` and loading, ready, thinking, off or error; empty where the server is not used.
function M.status()
  local client = vim.lsp.get_clients({ name = 'starcoder_lsp', bufnr = 0 })[1]
  return client and status.kind and 'starcoder: ' .. status.kind or ''
end

--- The names of what `:Starcoder` can do, from the server itself.
function M.commands()
  local client = vim.lsp.get_clients({ name = 'starcoder_lsp' })[1]
  local provider = client and client.server_capabilities.executeCommandProvider or {}
  return vim.tbl_map(function(command)
    return (command:gsub('^starcoder%.', ''))
  end, provider.commands or {})
end

--- Run `starcoder.<name>` and show what it answers.
function M.command(name, arguments)
  local client = vim.lsp.get_clients({ name = 'starcoder_lsp' })[1]
  if not client then
    vim.notify('starcoder: the server is not running', vim.log.levels.WARN)
    return
  end
  local params = { command = 'starcoder.' .. name, arguments = arguments }
  require('starcoder.suggestion').call(client, 'request', 'workspace/executeCommand', params, function(err, result)
    local answer = type(result) == 'table' and result or {}
    local said = err and err.message or answer.markdown or vim.inspect(answer, { newline = ' ', indent = '' })
    vim.notify('starcoder: ' .. said, err and vim.log.levels.ERROR or vim.log.levels.INFO)
  end)
end

return M
