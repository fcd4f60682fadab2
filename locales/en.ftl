# The person's pages. Every file here has the same sentences with the same arguments.

heading = Your e-mails from { $sender }
who = { $sender } writes to { $address }.

list-heading = This list
list-open = This message came from the list “{ $list }”.
list-left = You have left the list “{ $list }”. Nothing more comes from it.
list-leave = Unsubscribe from “{ $list }”
list-back = Subscribe to “{ $list }” again
list-notice = By pressing this button you agree to receive e-mails of the list “{ $list }” from { $sender } at { $address }. You can leave again at any time with the link in every message.

all-heading = Everything from { $sender }
all-open = Stop all marketing from { $sender }, on every list. Messages about an order or an account are not affected.
all-left = { $sender } sends no marketing to { $address } any more, on no list.
all-leave = Stop all marketing from { $sender }
all-back = Receive marketing from { $sender } again
all-notice = By pressing this button you agree to receive marketing e-mails from { $sender } at { $address } on all its lists: { $lists }. You can leave again at any time with the link in every message.

choose-heading = Choose by topic
choose-hint = What is switched on may be sent to you.
choose-save = Save my choices

done-heading = Done
done-list = { $address } gets no more e-mails of the list “{ $list }” from { $sender }. This counts from now on.
done-all = { $address } gets no more marketing from { $sender }. This counts from now on.
done-choices = Your choices are saved and count from now on.
done-list-back = { $address } may receive the list “{ $list }” from { $sender } again.
done-all-back = { $address } may receive marketing from { $sender } again.
mistake = Was this a mistake?
more = See all choices

shut = This address is blocked for a reason that this page cannot change. Please ask { $sender }.
shut-heading = Not possible here

unknown-heading = This link is not known here
unknown-text = Please use the link from a message that you received, exactly as it stands there.
later-heading = Not recorded yet
later-text = Your wish could not be recorded at this moment. Please try again in a few minutes.
often-heading = Too many requests
often-text = Please wait a few minutes and try again.
unclear-heading = This was not understood
unclear-text = Nothing was changed. Please open the link from your message and use the buttons there.

contact = Contact
imprint = Legal notice
languages = Language

confirm-subject-list = Please confirm: “{ $list }” from { $sender }
confirm-subject-all = Please confirm: e-mails from { $sender }
confirm-asked-list = This address was entered to receive the list “{ $list }” from { $sender }. Nothing will be sent until you confirm it.
confirm-asked-all = This address was entered to receive e-mails from { $sender }. Nothing will be sent until you confirm it.
confirm-do = If it was you, open this page and press the button there:
confirm-not-you = If it was not you, you need not do anything. The link works for { $days } days, and there is no reminder.
confirm-heading = One more step
confirm-button = Yes, I want these e-mails
confirm-done-list = { $sender } may now send you the list “{ $list }” at { $address }. You can leave at any time with the link in every message.
confirm-done-all = { $sender } may now send you its e-mails at { $address }. You can leave at any time with the link in every message.
confirm-expired-heading = This link has expired
confirm-expired = Nothing was recorded. If you still want these e-mails from { $sender }, please enter your address again.
confirm-left-heading = Not recorded
confirm-left = This address has said no to { $sender } since this link was sent, and that counts. If you want these e-mails, please enter your address again.
