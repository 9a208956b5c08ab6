-- `:checkhealth starcoder`
local M = {}

local function check_server()
  local command = dofile(vim.api.nvim_get_runtime_file('lsp/starcoder_lsp.lua', false)[1]).cmd
  local asking = vim.list_extend(vim.list_slice(command), { '--version' })
  local version = vim.fn.executable(command[1]) == 1 and vim.fn.system(asking)
  if not version then
    vim.health.error(('`%s` is not an executable'):format(command[1]), {
      'Install starcoder-lsp, or say where it is: vim.g.starcoder = { cmd = { "/path/to/starcoder-lsp" } }',
    })
  elseif vim.v.shell_error ~= 0 then
    vim.health.error(('`%s --version` fails: %s'):format(table.concat(command, ' '), vim.trim(version)))
  else
    vim.health.ok(vim.trim(version))
  end
end

local function check_client(client)
  local buffers = vim.tbl_count(client.attached_buffers or {})
  vim.health.ok(('serves %d buffer(s), position encoding %s'):format(buffers, client.offset_encoding))
  local suggestion = require('starcoder.suggestion')
  local params = { command = 'starcoder.showStatus' }
  local reply = suggestion.call(client, 'request_sync', 'workspace/executeCommand', params, 2000, 0)
  local status = reply and reply.result
  if not status then
    vim.health.error('the server does not answer', { ':lua vim.cmd.edit(vim.fn.stdpath("log") .. "/lsp.log")' })
  elseif status.kind == 'error' then
    vim.health.error(status.message)
  elseif status.kind == 'off' then
    vim.health.warn(status.message, { ':Starcoder toggle' })
  else
    local model = type(status.model) == 'string' and ', model ' .. status.model or ''
    vim.health.ok(status.kind .. model)
  end
end

function M.check()
  vim.health.start('starcoder: Neovim')
  if vim.fn.has('nvim-0.10') == 0 then
    vim.health.error('Neovim 0.10 or later is needed')
    return
  end
  local own = vim.lsp.inline_completion and "Neovim's own inline completion" or "this plugin's ghost text"
  vim.health.ok('suggestions are shown by ' .. own)
  local starcoder = require('starcoder')
  for action, key in vim.spairs(starcoder.keys) do
    local description = vim.fn.maparg(key, 'i', false, true).desc or ''
    if vim.startswith(description, 'starcoder: ') then
      vim.health.ok(('%s: %s'):format(key, action))
    else
      vim.health.info(("%s is mapped to something else; map require('starcoder').%s() to a key"):format(key, action))
    end
  end

  vim.health.start('starcoder: server')
  check_server()
  local clients = vim.lsp.get_clients({ name = 'starcoder_lsp' })
  if #clients == 0 then
    vim.health.warn('not running: open a file that has a type')
  end
  for _, client in ipairs(clients) do
    check_client(client)
  end
end

return M
