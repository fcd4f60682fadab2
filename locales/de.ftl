# Die Seiten der Person.

heading = Ihre E-Mails von { $sender }
who = { $sender } schreibt an { $address }.

list-heading = Diese Liste
list-open = Diese Nachricht kam von der Liste „{ $list }“.
list-left = Sie haben die Liste „{ $list }“ verlassen. Von ihr kommt nichts mehr.
list-leave = „{ $list }“ abbestellen
list-back = „{ $list }“ wieder bestellen
list-notice = Mit dem Druck auf diese Schaltfläche willigen Sie ein, E-Mails der Liste „{ $list }“ von { $sender } an { $address } zu erhalten. Sie können jederzeit über den Link in jeder Nachricht wieder abbestellen.

all-heading = Alles von { $sender }
all-open = Alle Werbung von { $sender } beenden, auf jeder Liste. Nachrichten zu einer Bestellung oder einem Konto sind nicht betroffen.
all-left = { $sender } sendet keine Werbung mehr an { $address }, auf keiner Liste.
all-leave = Alle Werbung von { $sender } beenden
all-back = Wieder Werbung von { $sender } erhalten
all-notice = Mit dem Druck auf diese Schaltfläche willigen Sie ein, Werbe-E-Mails von { $sender } an { $address } auf allen Listen zu erhalten: { $lists }. Sie können jederzeit über den Link in jeder Nachricht wieder abbestellen.

choose-heading = Nach Themen auswählen
choose-hint = Was eingeschaltet ist, darf Ihnen gesendet werden.
choose-save = Auswahl speichern

done-heading = Erledigt
done-list = { $address } erhält keine E-Mails der Liste „{ $list }“ von { $sender } mehr. Das gilt ab sofort.
done-all = { $address } erhält keine Werbung von { $sender } mehr. Das gilt ab sofort.
done-choices = Ihre Auswahl ist gespeichert und gilt ab sofort.
done-list-back = { $address } darf die Liste „{ $list }“ von { $sender } wieder erhalten.
done-all-back = { $address } darf wieder Werbung von { $sender } erhalten.
mistake = War das ein Versehen?
more = Alle Möglichkeiten ansehen

shut = Diese Adresse ist aus einem Grund gesperrt, den diese Seite nicht ändern kann. Bitte wenden Sie sich an { $sender }.
shut-heading = Hier nicht möglich

unknown-heading = Dieser Link ist hier nicht bekannt
unknown-text = Bitte verwenden Sie den Link aus einer Nachricht, die Sie erhalten haben, genau so, wie er dort steht.
later-heading = Noch nicht aufgezeichnet
later-text = Ihr Wunsch konnte im Moment nicht aufgezeichnet werden. Bitte versuchen Sie es in einigen Minuten erneut.
often-heading = Zu viele Anfragen
often-text = Bitte warten Sie einige Minuten und versuchen Sie es dann erneut.
unclear-heading = Das wurde nicht verstanden
unclear-text = Es wurde nichts geändert. Bitte öffnen Sie den Link aus Ihrer Nachricht und benutzen Sie die Schaltflächen dort.

contact = Kontakt
imprint = Impressum
languages = Sprache

confirm-subject-list = Bitte bestätigen: „{ $list }“ von { $sender }
confirm-subject-all = Bitte bestätigen: E-Mails von { $sender }
confirm-asked-list = Diese Adresse wurde eingetragen, um die Liste „{ $list }“ von { $sender } zu erhalten. Ohne Ihre Bestätigung wird nichts gesendet.
confirm-asked-all = Diese Adresse wurde eingetragen, um E-Mails von { $sender } zu erhalten. Ohne Ihre Bestätigung wird nichts gesendet.
confirm-do = Wenn Sie das waren, öffnen Sie diese Seite und drücken Sie dort die Schaltfläche:
confirm-not-you = Wenn Sie es nicht waren, brauchen Sie nichts zu tun. Der Link gilt { $days } Tage, und es gibt keine Erinnerung.
confirm-heading = Noch ein Schritt
confirm-button = Ja, ich möchte diese E-Mails
confirm-done-list = { $sender } darf Ihnen nun die Liste „{ $list }“ an { $address } senden. Sie können sie jederzeit mit dem Link in jeder Nachricht verlassen.
confirm-done-all = { $sender } darf Ihnen nun E-Mails an { $address } senden. Sie können sie jederzeit mit dem Link in jeder Nachricht abbestellen.
confirm-expired-heading = Dieser Link ist abgelaufen
confirm-expired = Es wurde nichts eingetragen. Wenn Sie diese E-Mails von { $sender } noch möchten, geben Sie Ihre Adresse bitte noch einmal ein.
confirm-left-heading = Nicht eingetragen
confirm-left = Seit dieser Link gesendet wurde, hat diese Adresse { $sender } abgelehnt, und das gilt. Wenn Sie diese E-Mails möchten, geben Sie Ihre Adresse bitte noch einmal ein.
