-- Ghost text from starcoder-lsp. What keys, a status line and `:Starcoder` call.
local call = require('starcoder.suggestion').call
local messages = require('starcoder.messages')

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
local statuses = {} -- by client: what it says that it does

--- The client of the current buffer, otherwise any.
local function current_client()
  local name = 'starcoder_lsp'
  return vim.lsp.get_clients({ name = name, bufnr = 0 })[1] or vim.lsp.get_clients({ name = name })[1]
end

vim.api.nvim_create_autocmd('LspProgress', {
  group = vim.api.nvim_create_augroup('starcoder.progress', {}),
  callback = function(event)
    local client = vim.lsp.get_client_by_id(event.data.client_id)
    if client and client.name == 'starcoder_lsp' and event.data.params then
      messages.follow(client.id, event.data.params)
    end
  end,
})

function M.attach(client, bufnr)
  local group = vim.api.nvim_create_augroup('starcoder:' .. bufnr, {})
  display.attach(client, bufnr, group)
  vim.api.nvim_create_autocmd('LspDetach', {
    group = group,
    buffer = bufnr,
    callback = function(event)
      if event.data.client_id == client.id then
        vim.api.nvim_del_augroup_by_id(group)
        display.detach(bufnr)
      end
    end,
  })
end

local n_crashes = 0
local MAX_CRASHES = 3

--- Start the server again after a crash, at once: once a buffer without a client is edited, Neovim follows its changes no
--- more, and a server that is started later is never told of them. A server that crashes often is left alone, and so is
--- one that Neovim was told to stop by force, with SIGTERM.
function M.restart(code, signal)
  if (code == 0 and (signal == 0 or signal == 15)) or vim.v.exiting ~= vim.NIL or n_crashes == MAX_CRASHES then
    return
  end
  n_crashes = n_crashes + 1
  local function start()
    vim.cmd('silent! doautoall ' .. (vim.lsp.enable and 'nvim.lsp.enable' or 'starcoder.start') .. ' FileType')
  end
  vim.schedule(function()
    vim.schedule(start) -- behind Neovim's own work of this kind, which forgets the old client
  end)
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

function M.set_status(client_id, status)
  statuses[client_id] = status.kind
  vim.cmd.redrawstatus({ bang = true })
end

--- For a status line: `starcoder: ` and loading, ready, thinking, off or error; empty where the server is not used.
function M.status()
  local client = vim.lsp.get_clients({ name = 'starcoder_lsp', bufnr = 0 })[1]
  local status = client and (messages.progress(client.id) or statuses[client.id])
  return status and 'starcoder: ' .. status or ''
end

--- What `:Starcoder` can do and begins with `typed`: its own and the server's commands, but for the one that no person
--- runs.
function M.commands(typed)
  local client = current_client()
  local provider = client and client.server_capabilities.executeCommandProvider or {}
  local names = vim.tbl_map(function(command)
    return (command:gsub('^starcoder%.', ''))
  end, provider.commands or {})
  return vim.tbl_filter(function(name)
    return name ~= 'accept' and vim.startswith(name, typed)
  end, vim.list_extend({ 'cancel' }, names))
end

--- End the code actions that are being written, and downloads.
local function cancel(client)
  messages.cancel(client, call)
  for id, request in pairs(client.requests) do
    if request.type == 'pending' and request.method == 'codeAction/resolve' then
      call(client, 'cancel_request', id)
      vim.notify('starcoder: cancelled')
    end
  end
end

--- What the server answers to a command, in words. A page goes to the browser.
local function in_words(answer)
  if answer.html then
    local page = vim.fn.tempname() .. '.html'
    vim.fn.writefile(vim.split(answer.html, '\n'), page)
    vim.ui.open(page)
    return 'the page is ' .. page
  end
  return answer.markdown or next(answer) and vim.inspect(answer, { newline = ' ', indent = '' }) or 'done'
end

--- Run `starcoder.<name>` and show what it answers.
function M.command(name, arguments)
  local client = current_client()
  if not client then
    vim.notify('starcoder: the server is not running', vim.log.levels.WARN)
  elseif name == 'cancel' then
    cancel(client)
  else
    local params = { command = 'starcoder.' .. name, arguments = arguments }
    call(client, 'request', 'workspace/executeCommand', params, function(err, result)
      local said = err and err.message or in_words(type(result) == 'table' and result or {})
      vim.notify('starcoder: ' .. said, err and vim.log.levels.ERROR or vim.log.levels.INFO)
    end)
  end
end

return M
